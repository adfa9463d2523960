"""Ratings of models from pairwise votes, and how far they can be trusted.

votes        a file of votes → models, sides, winners, properties of the answers
tables       wins and ties of model × model; win rate, points, PageRank
strength     Bradley–Terry, the same with ties, Elo
resampling   intervals and rank ranges by the bootstrap
style        the effects of side and length
findings     left wins, circles, votes needed
analysis     all of it as one record
report       in the terminal
page         as one HTML file
"""
