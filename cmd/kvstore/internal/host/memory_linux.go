package host

import "github.com/prometheus/procfs"

// ResidentBytes returns the resident memory of this process.
func ResidentBytes() (int64, error) {
	self, err := procfs.Self()
	if err != nil {
		return 0, err
	}
	status, err := self.NewStatus()
	return int64(status.VmRSS), err
}
