package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// file is where the result of a unit for a side is stored.
func (l *lab) file(u unit, s side) string {
	name := strings.ReplaceAll(u.name, "/", "+") + ".json"
	return filepath.Join(l.out, u.section, string(s), name)
}

// load reads a stored result; nil when there is none, or none that can be read.
func load(name string) (*result, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := newResult()
	if err := json.Unmarshal(b, r); err != nil {
		return nil, nil // it is made again
	}
	return r, nil
}

// fresh is the stored result of a unit, unless what it depends on has changed.
func (l *lab) fresh(u unit, s side) (*result, error) {
	r, err := load(l.file(u, s))
	if err != nil || r == nil || r.Key != l.key(u, s) {
		return nil, err
	}
	return r, nil
}

// store writes a result; a reader finds it whole or not at all.
func (l *lab) store(u unit, s side, r *result) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	name := l.file(u, s)
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(name+".tmp", b, 0o666); err != nil {
		return fmt.Errorf("store the result of %s: %w", u.name, err)
	}
	return os.Rename(name+".tmp", name)
}
