"""A real model, a real year of data and real drift, to see the service work."""
