// Command fn-sql answers queries of a database in memory, which is filled when the
// program starts: every machine that a snapshot becomes has it.
package main

import (
	"bytes"
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	_ "modernc.org/sqlite"

	"github.com/pvrun/pvrun/function"
)

//go:embed elements.csv
var elements string // number, symbol, name

func main() {
	db, err := open()
	if err == nil {
		err = function.Handle(func(ctx context.Context, message []byte) ([]byte, error) {
			return query(ctx, db, string(message))
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fn-sql:", err)
		os.Exit(1)
	}
}

// open fills the database. It is in memory, and so its one connection's.
func open() (*sql.DB, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE elements (number INTEGER PRIMARY KEY, symbol TEXT, name TEXT)"); err != nil {
		return nil, err
	}
	for line := range strings.Lines(elements) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if _, err := db.Exec("INSERT INTO elements VALUES (?, ?, ?)", f[0], f[1], f[2]); err != nil {
			return nil, err
		}
	}
	_, err = db.Exec("PRAGMA query_only = on")
	return db, err
}

// query is the result as a JSON list for each row, the columns' names first.
func query(ctx context.Context, db *sql.DB, text string) ([]byte, error) {
	rows, err := db.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	list := json.NewEncoder(&out)
	list.Encode(names)
	values, fields := make([]any, len(names)), make([]any, len(names))
	for i := range values {
		fields[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(fields...); err != nil {
			return nil, err
		}
		if err := list.Encode(values); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), rows.Err()
}
