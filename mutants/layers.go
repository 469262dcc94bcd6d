package main

import "time"

// layer says how the tests of one layer of docs/RELIABILITY.md are run.
type layer struct {
	name    string
	race    bool          // with the race detector
	env     string        // KEY=value, "" for none
	sound   string        // what env is without a fault, "" for the same
	timeout time.Duration // 0 means defaultTimeout
}

// defaultTimeout ends a test that hangs because of a fault. A test that hangs
// has noticed the fault; a test that is slow under the race detector has not.
const defaultTimeout = 90 * time.Second

// layers are the layers that a fault can name.
var layers = []layer{
	{name: "L0 behaviour"},
	{name: "L0 model"},
	{name: "L0 table"},
	{name: "L0 mailbox"},
	{name: "L0 file systems"},
	{name: "L0 command"},
	{name: "L0 race detector", race: true},
	// The explorer finds each fault that names it within a tenth of these
	// states. A fault that takes longer belongs in another layer.
	{name: "L1 crash explorer", env: "KVSTORE_STATES=40000", sound: "KVSTORE_STATES=4000"},
	{name: "L1 crash tests"},
	{name: "L2 error tests"},
	{name: "L4 bytes on disk"},
	{name: "L5 SIGKILL"},
	{name: "L7 limits of the OS"},
	{name: "L9 synctest"},
}

// findLayer returns the layer with a name.
func findLayer(name string) (layer, bool) {
	for _, l := range layers {
		if l.name == name {
			return l, true
		}
	}
	return layer{}, false
}
