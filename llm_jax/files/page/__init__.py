"""Pages of results: one HTML file that needs no network.

text        names that others have written, made harmless
document    record, style and script → the file
page        what all pages share: style, elements, tables, themes (.css, .js)
leaderboard, arena    what each page shows (.js)
"""
