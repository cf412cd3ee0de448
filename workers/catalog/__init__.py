"""Companies, trainings, contracts and training organisations, as portals and operators record them."""
