package account

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"latchkey/internal/store"
)

// byteOrderMark is with what Windows begins a file.
const byteOrderMark = "\ufeff"

// maxImportLine is the longest line of a file to import, in bytes. The longest name, hash and roles take a quarter of it.
const maxImportLine = 16 << 10

// importRecord is a line. Roles may be left out.
type importRecord struct {
	Username *string  `json:"username"`
	Hash     *string  `json:"hash"`
	Roles    []string `json:"roles"`
}

// readImport calls each for the lines of a file that are not blank, with an account or with what is wrong. Lines count
// from 1.
func readImport(file io.Reader, each func(line int, user store.User, fault string) error) error {
	r := bufio.NewReaderSize(file, maxImportLine+len("\r\n"))
	head, _ := r.Peek(maxImportLine) // whatever keeps it from being read keeps the first line, too
	head, marked := bytes.CutPrefix(head, []byte(byteOrderMark))
	if bytes.HasPrefix(bytes.TrimSpace(head), []byte("[")) {
		return each(1, store.User{}, "want one object per line, not an array: jq -c '.[]' makes it so")
	}
	if marked {
		_, _ = r.Discard(len(byteOrderMark)) // it is in the buffer
	}
	for number := 1; ; number++ {
		line, err := r.ReadSlice('\n')
		tooLong := len(bytes.TrimRight(line, "\r\n")) > maxImportLine
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of the line
			_, err = r.ReadSlice('\n')
		}
		atEnd := errors.Is(err, io.EOF)
		if err != nil && !atEnd {
			return fmt.Errorf("read line %d: %w", number, err)
		}
		switch {
		case tooLong:
			err = each(number, store.User{}, fmt.Sprintf("is longer than %d bytes", maxImportLine))
		case len(bytes.TrimSpace(line)) > 0:
			user, fault := parseImport(line)
			err = each(number, user, fault)
		default:
			err = nil
		}
		if err != nil || atEnd {
			return err
		}
	}
}

// parseImport is strict, as for a request: what it does not know could be what somebody meant.
func parseImport(line []byte) (store.User, string) {
	var record importRecord
	var semantic *json.SemanticError
	err := json.Unmarshal(line, &record, json.RejectUnknownMembers(true))
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return store.User{}, "has a member twice"
	case errors.Is(err, json.ErrUnknownName):
		return store.User{}, "has a member that is not username, hash or roles"
	case errors.As(err, &semantic):
		return store.User{}, "is not an object with two texts, username and hash, and perhaps roles, a list of texts"
	case err != nil:
		return store.User{}, "is not one JSON object in UTF-8"
	case record.Username == nil:
		return store.User{}, "has no username"
	case record.Hash == nil:
		return store.User{}, "has no hash"
	}
	return importedUser(*record.Username, *record.Hash, record.Roles)
}
