package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

func datasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// refuseMemory returns an error if dir is not on a disk.
func refuseMemory(dir string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fmt.Errorf("file system of %s: %w", dir, err)
	}
	switch int64(uint32(s.Type)) { // Type is signed, and 32 bits wide on some platforms
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return fmt.Errorf("%s is in memory (tmpfs or ramfs), where an fsync costs nothing: "+
			"choose a directory on a disk with -dir", dir)
	}
	return nil
}

// cpuTime returns the CPU time of this process, in user and in kernel mode.
func cpuTime() (time.Duration, bool) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}

// residentBytes returns the resident memory of this process.
func residentBytes() (uint64, error) {
	self, err := procfs.Self()
	if err != nil {
		return 0, err
	}
	status, err := self.NewStatus()
	return status.VmRSS, err
}

// hostFacts describes the machine. A fact that cannot be read is unknown, since
// a report without it is better than none.
func hostFacts(dir string) []fact {
	cpu, ram := unknown, unknown
	if proc, err := procfs.NewDefaultFS(); err == nil {
		if all, err := proc.CPUInfo(); err == nil && len(all) > 0 && all[0].ModelName != "" {
			cpu = all[0].ModelName
		}
		if memory, err := proc.Meminfo(); err == nil && memory.MemTotalBytes != nil {
			ram = fmt.Sprintf("%.1f GiB", float64(*memory.MemTotalBytes)/(1<<30))
		}
	}
	return []fact{
		{"CPU", cpu},
		{"RAM", ram},
		{"kernel", "Linux " + fileText("/proc/sys/kernel/osrelease")},
		{"disk and file system", mountOf(dir)},
	}
}

// mountOf describes the file system of dir, its device and the device's write
// cache. Of the mounts that hold dir, the last one counts, since it covers
// earlier ones.
func mountOf(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return unknown
	}
	mounts, err := procfs.GetMounts()
	if err != nil {
		return unknown
	}
	var best *procfs.MountInfo
	for _, m := range mounts {
		if inside(dir, m.MountPoint) && (best == nil || len(m.MountPoint) >= len(best.MountPoint)) {
			best = m
		}
	}
	if best == nil {
		return unknown
	}
	return fmt.Sprintf("%s (%s) on %s%s", best.FSType, optionsText(best.Options), best.Source,
		deviceFacts(best.MajorMinorVer))
}

// optionsText returns the options of a mount, sorted.
func optionsText(options map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if value := options[name]; value != "" {
			name += "=" + value
		}
		all = append(all, name)
	}
	return strings.Join(all, ",")
}

func inside(dir, point string) bool {
	return point == "/" || dir == point || strings.HasPrefix(dir, point+"/")
}

// deviceFacts describes the block device with this number, "major:minor".
func deviceFacts(number string) string {
	device, err := filepath.EvalSymlinks("/sys/dev/block/" + number)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(device, "queue")); err != nil {
		device = filepath.Dir(device) // a partition: its disk has the queue
	}
	queue := filepath.Join(device, "queue")
	return fmt.Sprintf(", %s, cache %s, FUA %s",
		filepath.Base(device), fileText(filepath.Join(queue, "write_cache")), fileText(filepath.Join(queue, "fua")))
}

func fileText(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return unknown
	}
	return strings.TrimSpace(string(text))
}
