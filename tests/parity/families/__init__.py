"""One module a family of networks; each gives a CHECKER, and is found by being here."""
