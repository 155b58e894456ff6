package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/hv"
)

// writeStats does what --stats asks for, however the machine has ended. code is
// the one that pvrun ends with: only it knows of time-outs.
func (r *runFlags) writeStats(stats hv.Stats, code int) error {
	if r.stats == "" {
		return nil
	}
	stats.ExitCode = code
	text, err := json.MarshalIndent(stats, "", "  ")
	if err != nil {
		return fmt.Errorf("write statistics: %w", err)
	}
	if r.stats == "-" {
		return writeTable(r.err, text)
	}
	if err := replaceFile(r.stats, append(text, '\n')); err != nil {
		return fmt.Errorf("--stats %s: %w", r.stats, cause(err))
	}
	return nil
}

// cause is err without the operation and the name of the file.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// checkStats finds out before the program runs whether what --stats names can
// be written after it.
func (r *runFlags) checkStats() error {
	if r.stats == "" || r.stats == "-" {
		return nil
	}
	if err := unix.Access(filepath.Dir(r.stats), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("--stats %s: folder %s: %w", r.stats, filepath.Dir(r.stats), err)
	}
	return nil
}

// replaceFile writes a file as a whole. What is not a regular file, such as a
// pipe, is written to.
func replaceFile(name string, text []byte) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return os.WriteFile(name, text, 0o666)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = firstError(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// writeTable writes a JSON object as a table: a row for each value, under the
// path of keys that leads to it.
func writeTable(w io.Writer, object []byte) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.UseNumber()
	if err := tableRows(t, dec, nil); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return t.Flush()
}

// tableRows writes the rows of dec's next value, which path leads to.
func tableRows(w io.Writer, dec *json.Decoder, path []string) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return objectRows(w, dec, path)
	case json.Delim('['):
		return arrayRow(w, dec, path)
	}
	return row(w, path, fmt.Sprint(token))
}

// row writes one row. Of the kernel's many counters, those that have counted
// nothing are left out.
func row(w io.Writer, path []string, value string) error {
	if path[0] == "kvm" && strings.Trim(value, "0 ") == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s\t%s\n", strings.Join(path, "."), value)
	return err
}

func objectRows(w io.Writer, dec *json.Decoder, path []string) error {
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		if err := tableRows(w, dec, append(path[:len(path):len(path)], fmt.Sprint(key))); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

// arrayRow writes an array of numbers or strings in one row.
func arrayRow(w io.Writer, dec *json.Decoder, path []string) error {
	var list []string
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		list = append(list, fmt.Sprint(token))
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	return row(w, path, strings.Join(list, " "))
}
