package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

func BenchmarkSign(b *testing.B) {
	now := testTime
	issuer := newTestIssuer(b, &now, fixedKey(b, 1))
	a := Access{UserID: testUser, SessionID: testSession, Generation: 1, Roles: []string{"admin"}, ExpiresAt: now.Add(10 * time.Minute)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := issuer.Sign(a); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify is the verification of a token that is seen for the first time, and of one that was seen before.
func BenchmarkVerify(b *testing.B) {
	now := testTime
	issuer := newTestIssuer(b, &now, fixedKey(b, 1))
	for name, forget := range map[string]func(){"first": issuer.keys.Load().verified.Purge, "again": func() {}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				forget()
				if _, err := issuer.Verify(fixedAccess); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAlgorithm compares the two algorithms that came into question, with the library as it is.
func BenchmarkAlgorithm(b *testing.B) {
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	es := fixedKey(b, 1)
	for _, algorithm := range []struct {
		method          jwt.SigningMethod
		private, public any
	}{
		{jwt.SigningMethodES256, es.private, &es.private.PublicKey},
		{jwt.SigningMethodEdDSA, edPrivate, edPublic},
	} {
		c := jwt.RegisteredClaims{
			Issuer: testIssuer, Subject: testUser.String(), Audience: jwt.ClaimStrings{testAudience}, ID: uuid.NewString(),
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		}
		b.Run(algorithm.method.Alg()+"/sign", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jwt.NewWithClaims(algorithm.method, c).SignedString(algorithm.private); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(algorithm.method.Alg()+"/verify", func(b *testing.B) {
			raw, err := jwt.NewWithClaims(algorithm.method, c).SignedString(algorithm.private)
			if err != nil {
				b.Fatal(err)
			}
			parser := jwt.NewParser(jwt.WithValidMethods([]string{algorithm.method.Alg()}))
			b.ReportAllocs()
			for b.Loop() {
				_, err := parser.ParseWithClaims(raw, &jwt.RegisteredClaims{}, func(*jwt.Token) (any, error) { return algorithm.public, nil })
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRefresh(b *testing.B) {
	keys := newTestRefreshKeys(b, secretOf(1))
	r := parseRefresh(b, keys, fixedRefresh)
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := keys.Parse(fixedRefresh); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Successor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r = keys.Successor(r)
		}
	})
}
