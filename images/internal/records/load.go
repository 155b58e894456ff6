package records

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A batch of loaded records is one transaction.
const (
	batchRecords = 2000
	batchBytes   = 1 << 20
)

// loader gathers records.
type loader struct {
	s       Store
	batch   []Change
	bytes   int
	records int
}

// load keeps every line of a file, of all text files of a folder, or of stdin.
func load(s Store, name string) (int, error) {
	l := &loader{s: s}
	var err error
	if name == "-" {
		err = l.lines(os.Stdin, name)
	} else {
		err = l.walk(name)
	}
	if err == nil {
		err = l.flush()
	}
	return l.records, err
}

func (l *loader) walk(root string) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		shown, err := filepath.Rel(filepath.Dir(root), name)
		if err != nil {
			return err
		}
		return l.lines(f, shown)
	})
}

// lines keeps the lines of r that are not blank. What has a zero byte near its
// beginning is no text.
func (l *loader) lines(r io.Reader, name string) error {
	in := bufio.NewReaderSize(r, 64<<10)
	if head, _ := in.Peek(512); bytes.IndexByte(head, 0) >= 0 {
		return nil
	}
	for n := 1; ; n++ {
		text, err := in.ReadString('\n')
		if text = strings.TrimRight(text, "\r\n"); strings.TrimSpace(text) != "" {
			if err := l.add(fmt.Sprintf("%s:%d", name, n), strings.ToValidUTF8(text, "?")); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (l *loader) add(key, value string) error {
	l.batch = append(l.batch, put(key, value))
	l.bytes += len(key) + len(value)
	if len(l.batch) < batchRecords && l.bytes < batchBytes {
		return nil
	}
	return l.flush()
}

func (l *loader) flush() error {
	if err := l.s.Update(l.batch); err != nil {
		return err
	}
	l.records += len(l.batch)
	l.batch, l.bytes = nil, 0
	return nil
}
