// Command lsm keeps lines of text in a Pebble database: a log-structured merge
// tree in a folder, whose files are written once and merged in the background.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pvrun/pvrun/images/internal/records"
)

func main() { records.Main("lsm", open) }

type store struct{ db *pebble.DB }

// quiet is a log of errors only.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(format string, a ...any) { fmt.Fprintf(os.Stderr, "lsm: "+format+"\n", a...) }
func (quiet) Fatalf(format string, a ...any) { quiet{}.Errorf(format, a...); os.Exit(1) }

func open(path string) (records.Store, error) {
	db, err := pebble.Open(path, &pebble.Options{
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             quiet{},
	})
	if err != nil {
		return nil, err
	}
	return store{db}, nil
}

func (s store) Close() error { return s.db.Close() }

func (s store) Get(key string) ([]byte, error) {
	sealed, closer, err := s.db.Get([]byte(key))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return bytes.Clone(sealed), closer.Close()
}

func (s store) Scan(prefix string, f func(key string, sealed []byte) error) (err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte(prefix)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	for iter.First(); iter.Valid() && bytes.HasPrefix(iter.Key(), []byte(prefix)); iter.Next() {
		sealed, err := iter.ValueAndErr()
		if err != nil {
			return err
		}
		if err := f(string(iter.Key()), sealed); err != nil {
			return err
		}
	}
	return iter.Error()
}

func (s store) Update(changes []records.Change) error {
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, c := range changes {
		var err error
		if c.Sealed == nil {
			err = batch.Delete([]byte(c.Key), nil)
		} else {
			err = batch.Set([]byte(c.Key), c.Sealed, nil)
		}
		if err != nil {
			return err
		}
	}
	return batch.Commit(pebble.Sync)
}

// Check compares the levels of the tree.
func (s store) Check() error { return s.db.CheckLevels(nil) }
