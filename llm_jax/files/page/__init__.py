"""Pages of results: one HTML file that needs no network.

text        text from files and users, made harmless for a terminal
document    record, style and script → the file
page        what all pages share: style, elements, tables, themes (.css, .js)

What a page shows is in `page.js` of the room that writes it.
"""
