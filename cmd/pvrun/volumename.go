package main

import "path/filepath"
import "os"
import "strings"

func isVolumeName(s string) bool { return !strings.Contains(s, "/") }

func volumeFile(name string) (string, error) {
	if !isVolumeName(name) {
		return name, nil
	}
	data := os.Getenv("XDG_DATA_HOME")
	if data == "" {
		data = filepath.Join(os.Getenv("HOME"), ".local/share")
	}
	return filepath.Join(data, "pvrun/volumes", name+".vol"), nil
}
