"""``kubectl apikey``: what people type to make, find, rotate and revoke keys, with the rights they have themselves."""
