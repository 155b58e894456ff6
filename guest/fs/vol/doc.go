// Package vol is a small file system for a block device: copy-on-write, with a
// checksum for every block, and consistent after a power cut at any moment. It
// is what `-v NAME:/path` shows in the guest, and the same code makes, fills and
// checks volumes on the host. docs/volume.md describes the format.
//
// Everything is a tree of blocks that hangs from a superblock. Changes are kept
// in memory and written by a commit: first every changed block, to places that
// are free, and the bitmap; then a flush; then a superblock that names the new
// trees; then a flush. Whatever is lost before the second flush leaves the
// volume as the superblock before it says.
//
// An [FS] is a [fs.Tree]. One lock guards all of it, but is not held while a
// commit writes or data is read.
package vol
