package hv

import (
	"github.com/pvrun/pvrun/hv/engine"
	"github.com/pvrun/pvrun/hv/kvm"
)

// snapshotEngine is the only engine whose machines can be snapshotted and cloned.
var snapshotEngine engine.Engine = kvm.Engine
