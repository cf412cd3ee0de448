"""Files of people: read, checked, and written as Excel reads them. Nothing here knows the database."""
