"""Frozen types and Arrow schemas that cross stage borders. Imports no other part of the package but errors."""
