package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm/schema"
)

func init() {
	schema.RegisterSerializer("uuid", uuidBytes{})
	schema.RegisterSerializer("words", words{})
}

// uuidBytes keeps a uuid.UUID in 16 bytes. The type's own Value is text, which would sort differently, take twice the
// space and not be the column's type.
type uuidBytes struct{}

// Scan reads the column.
func (uuidBytes) Scan(ctx context.Context, field *schema.Field, row reflect.Value, column any) error {
	b, ok := column.([]byte)
	if !ok {
		return fmt.Errorf("column %s holds a %T, not 16 bytes", field.DBName, column)
	}
	id, err := uuid.FromBytes(b)
	if err != nil {
		return fmt.Errorf("column %s: %w", field.DBName, err)
	}
	field.ReflectValueOf(ctx, row).Set(reflect.ValueOf(id))
	return nil
}

// Value makes the column.
func (uuidBytes) Value(_ context.Context, _ *schema.Field, _ reflect.Value, value any) (any, error) {
	id, ok := value.(uuid.UUID)
	if !ok {
		return nil, fmt.Errorf("%T is no UUID", value)
	}
	return id[:], nil
}

// words keeps a list of words in one text column, separated by spaces.
type words struct{}

// Scan reads the column.
func (words) Scan(ctx context.Context, field *schema.Field, row reflect.Value, column any) error {
	var text string
	switch c := column.(type) {
	case string:
		text = c
	case []byte:
		text = string(c)
	default:
		return fmt.Errorf("column %s holds a %T, not text", field.DBName, column)
	}
	field.ReflectValueOf(ctx, row).Set(reflect.ValueOf(strings.Fields(text)))
	return nil
}

// Value makes the column.
func (words) Value(_ context.Context, _ *schema.Field, _ reflect.Value, value any) (any, error) {
	list, ok := value.([]string)
	if !ok {
		return nil, fmt.Errorf("%T is no list of words", value)
	}
	return driver.Value(strings.Join(list, " ")), nil
}
