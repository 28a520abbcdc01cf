package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzDecode: whatever the body, decode neither panics nor takes one for another than it is. What it accepts, a plain
// reader of JSON that knows no options must understand as the same two members.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		credentialsOf("alice", goodPassword),
		` {"password":"\ud83d\ude00","username":"\u0061"} `,
		`{"username":"a","password":""}`,
		`{"username":"a","username":"b","password":"c"}`,
		`{"\u0075sername":"a","username":"b","password":"c"}`,
		`{"Username":"a","password":"c"}`,
		`{"username":"a","password":"c","roles":["admin"]}`,
		`{"username":null,"password":"c"}`,
		`{"username":"a","password":"\ud800"}`,
		"{\"username\":\"\xff\",\"password\":\"c\"}",
		"{\"username\":\"\u2028\",\"password\":\"\x7f\"}",
		`{"username":"a","password":"c"}{}`,
		`{"username":"a","password":"c"} x`,
		"\xef\xbb\xbf" + `{"username":"a","password":"c"}`,
		`{"username":["a"],"password":{"b":1e400}}`,
		`[]`, `null`, `""`, `0`, ``, ` `, `{`, `{}`, `{"username":"a"}`, "\x00",
		strings.Repeat("[", 100), strings.Repeat(`{"a":`, 100),
		`{"username":"a","password":"` + strings.Repeat("c", maxBody) + `"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, maxBody)
		var in credentials
		if err := decode(r, &in); err != nil {
			var malformed malformedError
			if !errors.As(err, &malformed) && !errors.Is(err, errBodyTooLarge) {
				t.Fatalf("an error that is none of the client's: %v", err)
			}
			return
		}
		switch {
		case in.Username == nil || in.Password == nil:
			t.Fatal("a member is missing")
		case len(body) > maxBody:
			t.Fatalf("%d bytes are accepted", len(body))
		case !utf8.Valid(body) || !utf8.ValidString(*in.Username) || !utf8.ValidString(*in.Password):
			t.Fatal("invalid UTF-8 is accepted")
		}
		names, values, err := members(body)
		if err != nil {
			t.Fatalf("another reader does not accept it: %v", err)
		}
		if len(names) != 2 || values["username"] != *in.Username || values["password"] != *in.Password {
			t.Fatalf("read as %q and %q; another reader sees %q %q", *in.Username, *in.Password, names, values)
		}
		// Written again, it is read again as the same.
		again := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(credentialsOf(*in.Username, *in.Password)))
		again.Header.Set("Content-Type", "application/json")
		var second credentials
		if err := decode(again, &second); err != nil || *second.Username != *in.Username || *second.Password != *in.Password {
			t.Fatalf("written again it is something else: %v", err)
		}
	})
}

// members reads one object of strings token by token, with the standard library, and keeps duplicate names apart.
func members(body []byte) (names []string, values map[string]string, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, nil, errors.New("no object")
	}
	values = map[string]string{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		value, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		text, ok := value.(string)
		if !ok {
			return nil, nil, errors.New("a value is no string")
		}
		names, values[name.(string)] = append(names, name.(string)), text
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("something follows")
	}
	return names, values, nil
}
