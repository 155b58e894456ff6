// Package records is what the programs on databases have in common. A record is a
// line of text under a key, with a checksum. Text is loaded and found again; and
// numbered transactions are committed one by one, each acknowledged on stdout when
// the database has said that it will stay, so that whoever ends the machine at any
// moment can tell whether it did.
package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Store is a database. Its records are in the order of their keys.
type Store interface {
	// Get is a record's sealed value; nil when there is none.
	Get(key string) ([]byte, error)
	// Scan calls f for every record whose key begins with prefix. What f gets may
	// not be kept.
	Scan(prefix string, f func(key string, sealed []byte) error) error
	// Update makes all changes or none, and returns when they will stay.
	Update(changes []Change) error
	// Check is the database's own check of itself.
	Check() error
	Close() error
}

// Change is one record to write, or to remove when Sealed is nil.
type Change struct {
	Key    string
	Sealed []byte
}

// sumSize is the size of a checksum, in bytes.
const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// put is the change that writes a record. Its sealed value is the value and then
// the checksum of key and value, little endian.
func put(key, value string) Change {
	b := make([]byte, 0, len(value)+sumSize)
	b = append(b, value...)
	return Change{key, binary.LittleEndian.AppendUint32(b, checksum(key, b))}
}

func checksum(key string, value []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
}

// Split parts a sealed value into value and checksum.
func Split(sealed []byte) (value []byte, sum uint32) {
	n := len(sealed) - sumSize
	return sealed[:n], binary.LittleEndian.Uint32(sealed[n:])
}

// Join is the reverse of Split.
func Join(value []byte, sum uint32) []byte {
	return binary.LittleEndian.AppendUint32(value, sum)
}

var errNone = errors.New("no such record")

// unseal is the value of a record that is intact.
func unseal(key string, sealed []byte) (string, error) {
	if len(sealed) < sumSize {
		return "", fmt.Errorf("record %q: %d bytes, too short for its checksum", key, len(sealed))
	}
	value, sum := Split(sealed)
	if want := checksum(key, value); sum != want {
		return "", fmt.Errorf("record %q: checksum %#08x, want %#08x", key, sum, want)
	}
	return string(value), nil
}

// get is the value of one record.
func get(s Store, key string) (string, error) {
	sealed, err := s.Get(key)
	switch {
	case err != nil:
		return "", err
	case sealed == nil:
		return "", fmt.Errorf("get %q: %w", key, errNone)
	}
	return unseal(key, sealed)
}
