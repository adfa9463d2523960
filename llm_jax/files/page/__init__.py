"""Pages of results: one HTML file that needs no network.

text        names that others have written, made harmless
document    record, style and script → the file
page        what all pages share: style, elements, tables, themes (.css, .js)

What a page shows stands in the room that writes it (`page.js` there).
"""
