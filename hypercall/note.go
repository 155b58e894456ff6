package hypercall

import "unsafe"

// An image is an ELF file with two program headers of ours: a PT_NOTE whose
// note has the name NoteName and the type NoteType, and, when the image has a
// root file system, one of type PTRootFS that spans a newc cpio archive.
const (
	NoteName = "pvrun"
	NoteType = 1

	// PTRootFS is in the range that ELF leaves to the operating system
	// (System V ABI, "Program Header", PT_LOOS to PT_HIOS).
	PTRootFS = 0x6070_7672

	// MaxManifest bounds the manifest in the note, in bytes.
	MaxManifest = 64 << 10
)

// Note is the fixed part of the note's descriptor; ManifestLen bytes of JSON
// follow it.
type Note struct {
	ABIVersion  uint32
	ManifestLen uint32
	Required    Feature // the host must offer these
	Usable      Feature // the guest uses these when offered
}

var _ = [1]struct{}{}[unsafe.Sizeof(Note{})-24]
