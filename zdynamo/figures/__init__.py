"""What is made of the things that nodes tell, for people and for scripts: the same in a terminal and over HTTP."""
