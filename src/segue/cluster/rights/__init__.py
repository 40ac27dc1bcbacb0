"""Who may do what: roles and their bindings (RBAC), the tokens of service accounts, and reviews of both."""
