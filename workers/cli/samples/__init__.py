"""Sample values for every mail and every certificate: previews show them, tests render them."""
