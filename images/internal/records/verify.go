package records

import (
	"fmt"
	"io"
	"strings"
)

// verify has the database check itself, then every checksum, then that what
// transactions left is just what as many whole transactions leave.
func verify(s Store, out io.Writer) error {
	if err := s.Check(); err != nil {
		return fmt.Errorf("the database's own check: %w", err)
	}
	l, err := newLedger(s)
	if err != nil {
		return err
	}
	want := l.records()
	n := 0
	err = s.Scan("", func(key string, sealed []byte) error {
		n++
		value, err := unseal(key, sealed)
		if err != nil || !strings.HasPrefix(key, ledgerKeys) {
			return err
		}
		expected, ok := want[key]
		delete(want, key)
		switch {
		case !ok:
			return fmt.Errorf("record %q: is no part of the first %d transactions", key, l.last)
		case value != expected:
			return fmt.Errorf("record %q: %.40q, want %.40q after %d transactions", key, value, expected, l.last)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key := range want {
		return fmt.Errorf("record %q: missing, with %d more of the first %d transactions", key, len(want)-1, l.last)
	}
	_, err = fmt.Fprintf(out, "%d records, %d transactions\n", n, l.last)
	return err
}
