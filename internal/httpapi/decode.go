package httpapi

import (
	"errors"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxBody is the most that a request body may have, in bytes.
const maxBody = 16 << 10

// decode reads the body into a request type, whose fields are pointers: each must be there. It is strict, so that a
// request means one thing to everybody who looks at it: one JSON object in valid UTF-8, no name twice, none unknown or
// in another case, nothing behind it.
func decode(r *http.Request, into any) error {
	mediaType, parameters, err := mime.ParseMediaType(strings.Join(r.Header.Values("Content-Type"), ","))
	if charset := parameters["charset"]; err != nil || mediaType != "application/json" ||
		charset != "" && !strings.EqualFold(charset, "utf-8") || strings.Join(r.Header.Values("Content-Encoding"), "") != "" {
		return errMediaType
	}
	if err := json.UnmarshalRead(r.Body, into, json.RejectUnknownMembers(true)); err != nil {
		return decodeError(err)
	}
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		if v.Field(i).IsNil() {
			return malformedError{"The member " + v.Type().Field(i).Tag.Get("json") + " is missing or null"}
		}
	}
	return nil
}

// decodeError tells the developer of a client what is wrong, without repeating their input.
func decodeError(err error) error {
	var tooLarge *http.MaxBytesError
	var semantic *json.SemanticError
	switch {
	case errors.As(err, &tooLarge):
		return errBodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded): // the server's ReadTimeout
		return errBodyTooSlow
	case errors.Is(err, jsontext.ErrDuplicateName):
		return malformedError{"The request body has a member twice"}
	case errors.Is(err, json.ErrUnknownName):
		return malformedError{"The request body has a member that this call does not know"}
	case errors.As(err, &semantic):
		return malformedError{"The request body must be one JSON object whose members have the types that the API document says"}
	default:
		return malformedError{"The request body is not valid JSON"}
	}
}
