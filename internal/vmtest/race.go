//go:build race

package vmtest

// raceEnabled says that the race detector's mappings are about, which come
// without a reserve too.
const raceEnabled = true
