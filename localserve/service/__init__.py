"""localserve as a service of the user's own: started at login, and again after a failure."""
