package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

// guestEnv is the program's environment: a few variables that programs take
// for granted, then the file's, then the flags'. Later ones win.
func (r *runFlags) guestEnv() ([]string, error) {
	list := []string{"PATH=/bin", "HOME=/"}
	if term := os.Getenv("TERM"); isTerminal(r.out) && term != "" {
		list = append(list, "TERM="+term)
	}
	if r.envFile != "" {
		more, err := readEnvFile(r.envFile)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	for _, s := range r.env {
		kv, err := setting(s)
		if err != nil {
			return nil, r.usage(fmt.Errorf("-e %s: %w", s, err))
		}
		list = append(list, kv...)
	}
	return lastOfEach(list), nil
}

// setting is a K=V as given; K alone takes the host's value, or nothing when
// the host has none.
func setting(s string) ([]string, error) {
	key, _, ok := strings.Cut(s, "=")
	if key == "" || strings.ContainsRune(s, 0) {
		return nil, errors.New("must be NAME=VALUE or NAME")
	}
	if ok {
		return []string{s}, nil
	}
	if value, ok := os.LookupEnv(key); ok {
		return []string{key + "=" + value}, nil
	}
	return nil, nil
}

// readEnvFile reads a file in docker's form: a setting a line, # comments.
func readEnvFile(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeft(lines.Text(), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		kv, err := setting(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		list = append(list, kv...)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return list, nil
}

// lastOfEach keeps of the settings of one name the last.
func lastOfEach(list []string) []string {
	at := map[string]int{}
	var out []string
	for _, kv := range list {
		key, _, _ := strings.Cut(kv, "=")
		if i, ok := at[key]; ok {
			out[i] = kv
			continue
		}
		at[key] = len(out)
		out = append(out, kv)
	}
	return out
}
