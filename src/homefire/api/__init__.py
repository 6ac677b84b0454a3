"""HTTP front doors: translate, authorise, call one floor down."""
