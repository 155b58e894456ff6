package build

import (
	"bytes"
	"debug/buildinfo"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/pvrun/pvrun"
	"github.com/pvrun/pvrun/hypercall"
)

// Manifest is the JSON text in an image's note. Nothing in it tells when or
// where the image was made.
type Manifest struct {
	Format  int     `json:"format"` // 1
	Pvrun   string  `json:"pvrun"`
	Go      string  `json:"go"`
	Package string  `json:"package"` // import path of the main package
	Module  string  `json:"module,omitempty"`
	RootFS  *RootFS `json:"rootfs,omitempty"`
}

// RootFS describes an image's archive.
type RootFS struct {
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"` // of the archive
	SHA256 string `json:"sha256"`
}

// Features of the contract that every image requires and can use.
const (
	featuresRequired = hypercall.FeatureConsole
	featuresUsable   = featuresRequired | hypercall.FeatureHostFile |
		hypercall.FeatureSuspend | hypercall.FeatureAlias | hypercall.FeatureTrapMode | hypercall.FeatureMessage |
		hypercall.FeatureStream
)

// makeImage writes the image out: the linked program, the archive of the
// folder rootfs if there is one, and the note.
func makeImage(out, linked, rootfs string, uses hypercall.Feature) (m Manifest, err error) {
	err = writeAtomic(out, func(f *os.File) error {
		own, err := newOutputs(out, f)
		if err != nil {
			return err
		}
		m, err = writeImage(f, linked, rootfs, own, uses)
		return err
	})
	return m, err
}

// writeImage writes an image to the empty file f. Files in own stay out of the
// archive; uses are features that the program can use beyond what all can.
func writeImage(f *os.File, linked, rootfs string, own outputs, uses hypercall.Feature) (Manifest, error) {
	m, err := newManifest(linked)
	if err != nil {
		return m, err
	}
	if err := appendFile(f, linked); err != nil {
		return m, err
	}
	e, err := openELF(f)
	if err != nil {
		return m, err
	}
	if rootfs != "" {
		if m.RootFS, err = e.addRootFS(rootfs, own); err != nil {
			return m, err
		}
	}
	note, err := encodeNote(m, uses)
	if err != nil {
		return m, err
	}
	if err := e.addNote(note); err != nil {
		return m, err
	}
	return m, e.writeHeaders()
}

func newManifest(linked string) (Manifest, error) {
	bi, err := buildinfo.ReadFile(linked)
	if err != nil {
		return Manifest{}, fmt.Errorf("read the program's build information: %w", err)
	}
	return Manifest{Format: 1, Pvrun: pvrun.Version, Go: bi.GoVersion, Package: bi.Path, Module: bi.Main.Path}, nil
}

// encodeNote returns the image's note in the form of System V ABI, "Note
// Section": sizes, type, name and descriptor, each filled up to 4 bytes.
func encodeNote(m Manifest, uses hypercall.Feature) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	if len(text) > hypercall.MaxManifest {
		return nil, errors.New("encode the manifest: too long")
	}
	desc := new(bytes.Buffer)
	binary.Write(desc, binary.LittleEndian, hypercall.Note{
		ABIVersion:  hypercall.Version,
		ManifestLen: uint32(len(text)),
		Required:    featuresRequired,
		Usable:      featuresUsable | uses,
	})
	desc.Write(text)
	name := []byte(hypercall.NoteName + "\x00")
	note := new(bytes.Buffer)
	binary.Write(note, binary.LittleEndian, []uint32{uint32(len(name)), uint32(desc.Len()), hypercall.NoteType})
	note.Write(fill4(name))
	note.Write(fill4(desc.Bytes()))
	return note.Bytes(), nil
}

func fill4(b []byte) []byte {
	return append(b, make([]byte, -len(b)&3)...)
}
