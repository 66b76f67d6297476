"""What a request costs before it is a response: from histories to ranked items, without HTTP."""
