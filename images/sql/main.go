// Command sql keeps lines of text in an SQLite database, with a write-ahead log
// that is synced at every commit.
package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	_ "modernc.org/sqlite"

	"github.com/pvrun/pvrun/images/internal/records"
)

func main() { records.Main("sql", open) }

// settings are SQLite's https://www.sqlite.org/pragma.html.
var settings = url.Values{
	"_pragma": {"busy_timeout(5000)", "journal_mode(wal)", "synchronous(full)"},
	"_txlock": {"immediate"},
}

const schema = `CREATE TABLE IF NOT EXISTS records (
	key TEXT PRIMARY KEY,
	value TEXT NOT NULL,
	sum INTEGER NOT NULL
) WITHOUT ROWID`

type store struct{ db *sql.DB }

func open(path string) (records.Store, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?"+settings.Encode())
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(schema); err != nil {
		db.Close()
		return nil, err
	}
	return store{db}, nil
}

func (s store) Close() error { return s.db.Close() }

func (s store) Get(key string) ([]byte, error) {
	var value []byte
	var sum uint32
	err := s.db.QueryRow("SELECT value, sum FROM records WHERE key = ?", key).Scan(&value, &sum)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return records.Join(value, sum), nil
}

func (s store) Scan(prefix string, f func(key string, sealed []byte) error) error {
	rows, err := s.db.Query("SELECT key, value, sum FROM records WHERE key >= ? ORDER BY key", prefix)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key, value []byte
		var sum uint32
		if err := rows.Scan(&key, &value, &sum); err != nil {
			return err
		}
		if !bytes.HasPrefix(key, []byte(prefix)) {
			break
		}
		if err := f(string(key), records.Join(value, sum)); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s store) Update(changes []records.Change) error {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, c := range changes {
		if c.Sealed == nil {
			_, err = tx.Exec("DELETE FROM records WHERE key = ?", c.Key)
		} else {
			value, sum := records.Split(c.Sealed)
			_, err = tx.Exec("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", c.Key, string(value), sum)
		}
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s store) Check() error {
	var result string
	if err := s.db.QueryRow("PRAGMA integrity_check").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return errors.New(result)
	}
	return nil
}

// Query asks anything that is SQL.
func (s store) Query(text string, row func(columns []string) error) error {
	rows, err := s.db.Query(text)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	values, fields := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		fields[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(fields...); err != nil {
			return err
		}
		columns := make([]string, len(values))
		for i, v := range values {
			columns[i] = fmt.Sprint(v)
		}
		if err := row(columns); err != nil {
			return err
		}
	}
	return rows.Err()
}
