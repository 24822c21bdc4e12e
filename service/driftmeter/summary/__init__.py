"""Values × bins → counts: used by the baseline and by windows, so that both sides are binned alike."""
