// Command kv keeps lines of text in a bbolt database: a B+ tree in one file that
// is mapped to be read.
package main

import (
	"bytes"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pvrun/pvrun/images/internal/records"
)

func main() { records.Main("kv", open) }

// lockTime is how long another process may have the file.
const lockTime = 5 * time.Second

var bucket = []byte("records")

type store struct{ db *bbolt.DB }

func open(path string) (records.Store, error) {
	db, err := bbolt.Open(path, 0o666, &bbolt.Options{Timeout: lockTime})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucket) != nil {
			return nil
		}
		_, err := tx.CreateBucket(bucket)
		return err
	})
	return store{db}, err
}

func (s store) Close() error { return s.db.Close() }

func (s store) Get(key string) (sealed []byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		sealed = bytes.Clone(tx.Bucket(bucket).Get([]byte(key)))
		return nil
	})
	return sealed, err
}

func (s store) Scan(prefix string, f func(key string, sealed []byte) error) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.Seek([]byte(prefix)); bytes.HasPrefix(k, []byte(prefix)) && k != nil; k, v = c.Next() {
			if err := f(string(k), v); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s store) Update(changes []records.Change) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		for _, c := range changes {
			var err error
			if c.Sealed == nil {
				err = b.Delete([]byte(c.Key))
			} else {
				err = b.Put([]byte(c.Key), c.Sealed)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Check follows every page and the list of free ones.
func (s store) Check() error {
	return s.db.View(func(tx *bbolt.Tx) (first error) {
		for err := range tx.Check() {
			if first == nil {
				first = err
			}
		}
		return first
	})
}
