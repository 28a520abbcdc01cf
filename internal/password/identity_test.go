package password

import "testing"

// Those of "my password" are of PasswordHasherTest in dotnet/aspnetcore; Python's hashlib made the others.
func TestIdentityHashesVerify(t *testing.T) {
	tests := map[string]struct{ password, hash string }{
		"version 2":                          {"my password", "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg=="},
		"version 2, another salt":            {"my password", "ANXrDknc7fGPpigibZXXZFMX4aoqz44JveK6jQuwY3eH/UyPhvr5xTPeGYEckLxz9A=="},
		"version 2 of Python":                {"correct horse battery", "ACAhIiMkJSYnKCkqKywtLi9KiDyZpWH29n7GEVGVcBjhRKzAYZ0YW3mIl0nSjRUf7g=="},
		"SHA-256, 10,000":                    {"my password", "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw=="},
		"SHA-512, 50, a subkey of 16":        {"my password", "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw"},
		"SHA-512, 250, parts of 32 and 64":   {"my password", "AQAAAAIAAAD6AAAAIJbVi5wbMR+htSfFp8fTw8N8GOS/Sje+S/4YZcgBfU7EQuqv4OkVYmc4VJl9AGZzmRTxSkP7LtVi9IWyUxX8IAAfZ8v+ZfhjCcudtC1YERSqE1OEdXLW9VukPuJWBBjLuw=="},
		"SHA-1, 250, a subkey of 16":         {"my password", "AQAAAAAAAAD6AAAAEAhftMyfTJylOlZT+eEotFXd1elee8ih5WsjXaR3PA9M"},
		"SHA-256, 250,000, parts of 32":      {"my password", "AQAAAAEAA9CQAAAAIESkQuj2Du8Y+kbc5lcN/W/3NiAZFEm11P27nrSN5/tId+bR1SwV8CO1Jd72r4C08OLvplNlCDc3oQZ8efcW+jQ="},
		"SHA-1, 100,000, of Python, UTF-8":   {"Pässwörd \U0001F511", "AQAAAAAAAYagAAAAEAABAgMEBQYHCAkKCwwNDg9nptZQlryqEOhzmsWN1Oz/BiBv9D1TmvpqNV8Afggatg=="},
		"SHA-256, 100,000, of Python, UTF-8": {"Pässwörd \U0001F511", "AQAAAAEAAYagAAAAEAABAgMEBQYHCAkKCwwNDg9nh8//dcKvze0L4Pq317q9JhoimFrHbRXaZ5EQfgi8/g=="},
		"SHA-512, 100,000, of Python, UTF-8": {"Pässwörd \U0001F511", "AQAAAAIAAYagAAAAEAABAgMEBQYHCAkKCwwNDg9aEZQsMjeORnDcW0l3vzeN8U0fIrOERdIjFvA8QaTxXw=="},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { wantForeign(t, test.password, test.hash) })
	}
}

// As PasswordHasherTest has them: "my password" is wrong for the first two, and the others are no hashes.
func TestDamagedIdentityHashesVerifyNothing(t *testing.T) {
	for name, hash := range map[string]string{
		"version 2, overwritten": "AAABAgMEBQYHCAkKCwwNDg+uAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAALtH1uJg==",
		"version 3, overwritten": "AQAAAAAAAAD6AAAAEAhftMyfTJyAAAAAAAAAAAAAAAAAAAih5WsjXaR3PA9M",
		"version 2, cut":         "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggE=",
		"version 2 and more":     "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJgAAAAAAAAAAAAA=",
		"version 3, cut":         "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4A=",
		"version 3 and more":     "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHwAAAAAAAAAAAA",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := NewHasher(1).Verify(t.Context(), "my password", hash); got != (Verdict{}) {
				t.Errorf("Verify gives %+v and %v", got, err)
			}
		})
	}
}
