package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/password"
	"latchkey/internal/store"
)

// maxImportFaults is how many faults an ImportError names.
const maxImportFaults = 20

// ImportError says which lines of a file keep it from being imported.
type ImportError struct {
	Faults []LineFault // the first ones
	More   int         // how many there are beside these
}

// LineFault is what is wrong with one line, for people.
type LineFault struct {
	Line  int
	Fault string
}

// Error lists the faults, a line each.
func (e *ImportError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the file has %d fault(s), and nothing was imported:", len(e.Faults)+e.More)
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\n  line %d: %s", f.Line, f.Fault)
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\n  and %d more", e.More)
	}
	return b.String()
}

func (e *ImportError) add(line int, fault string) {
	if len(e.Faults) == maxImportFaults {
		e.More++
		return
	}
	e.Faults = append(e.Faults, LineFault{line, fault})
}

func (e *ImportError) orNil() error {
	if len(e.Faults) == 0 {
		return nil
	}
	return e
}

// ImportStep is what an import is about.
type ImportStep string

// The steps of an import: every line is checked, and then every account is inserted.
const (
	ImportChecks  ImportStep = "checked"
	ImportInserts ImportStep = "inserted"
)

// Import adds the accounts of a file of JSON Lines, {"username", "hash", "roles"} each, all or none, and returns how many
// they are. An *ImportError lists what is wrong with the file. The file is read twice, so that all that can be known
// without the database is known before anything is locked: the one transaction that then writes is as long as it must be,
// and memory does not grow with the file. progress, after each line, is told how many the step has had.
func (s *Service) Import(ctx context.Context, file io.ReadSeeker, progress func(step ImportStep, lines int)) (int, error) {
	faults := &ImportError{}
	lines := 0
	err := readImport(file, func(line int, _ store.User, fault string) error {
		if fault != "" {
			faults.add(line, fault)
		}
		lines++
		progress(ImportChecks, lines)
		return ctx.Err()
	})
	if err == nil {
		err = faults.orNil()
	}
	if err == nil && lines == 0 {
		err = errors.New("the file has no account: nothing was imported")
	}
	if err != nil {
		return 0, err
	}
	var i *importer
	if err := s.store.InTx(ctx, func(tx *store.Store) error {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read the file again: %w", err)
		}
		i = &importer{now: s.now(), progress: progress, faults: &ImportError{}}
		return i.run(ctx, tx, file)
	}); err != nil {
		return 0, err
	}
	s.audit.Record(ctx, audit.Event{Action: audit.Administer, Result: "import"})
	return i.lines, nil
}

// importer is the second pass over a file: it inserts.
type importer struct {
	now      time.Time
	progress func(ImportStep, int)
	faults   *ImportError
	lines    int

	batch   []store.User
	numbers []int // of the lines that batch is from
}

func (i *importer) run(ctx context.Context, tx *store.Store, file io.Reader) error {
	err := readImport(file, func(line int, user store.User, fault string) error {
		if fault != "" {
			return fmt.Errorf("the file changed while it was read: line %d %s", line, fault)
		}
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make a user id: %w", err)
		}
		user.ID, user.CreatedAt = id, i.now
		i.batch, i.numbers = append(i.batch, user), append(i.numbers, line)
		if len(i.batch) == store.UserBatch {
			return i.flush(ctx, tx)
		}
		return nil
	})
	if err == nil {
		err = i.flush(ctx, tx)
	}
	if err == nil {
		err = i.faults.orNil() // and the transaction is rolled back
	}
	return err
}

// flush inserts the batch, but for the names that are taken. The database is asked, which has the lines before too: what
// this program would remember of a million names is more than it should take.
func (i *importer) flush(ctx context.Context, tx *store.Store) error {
	if len(i.batch) == 0 {
		return nil
	}
	names := make([]string, len(i.batch))
	for n, user := range i.batch {
		names[n] = user.CanonicalName
	}
	taken, err := tx.TakenNames(ctx, names)
	if err != nil {
		return err
	}
	isTaken := make(map[string]bool, len(names))
	for _, name := range taken {
		isTaken[name] = true
	}
	free := make([]store.User, 0, len(i.batch))
	for n, user := range i.batch {
		if isTaken[user.CanonicalName] {
			i.faults.add(i.numbers[n], "username is taken, by an account or by an earlier line")
			continue
		}
		isTaken[user.CanonicalName] = true
		free = append(free, user)
	}
	i.lines += len(i.batch)
	i.batch, i.numbers = i.batch[:0], i.numbers[:0]
	if len(free) > 0 {
		if err := tx.CreateUsers(ctx, free); errors.Is(err, store.ErrDuplicate) {
			return errors.New("somebody registered one of the names meanwhile, and nothing was imported: run it again")
		} else if err != nil {
			return err
		}
	}
	i.progress(ImportInserts, i.lines)
	return nil
}

// importedUser makes an account of a line, or says all that is wrong with it.
func importedUser(name, hash string, roles []string) (store.User, string) {
	var faults []string
	canonical, fault := checkName(name)
	if fault != "" {
		faults = append(faults, "username "+nameMessages[fault]+", as at registration")
	}
	if err := password.CheckHash(hash); err != nil {
		faults = append(faults, "hash "+err.Error())
	}
	roles, rolesFault := checkRoles(roles)
	if rolesFault != nil {
		faults = append(faults, rolesFault.Field+" "+rolesFault.Message)
	}
	return store.User{Username: name, CanonicalName: canonical, PasswordHash: hash, Roles: roles}, strings.Join(faults, "; ")
}
