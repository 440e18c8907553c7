"""What every part of the program needs of the operating system; knows nothing of Crewgate."""
