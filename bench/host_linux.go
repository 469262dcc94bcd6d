package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Magic numbers of file systems on which an fsync costs nothing.
const (
	tmpfsMagic = 0x01021994
	ramfsMagic = 0x858458f6
)

func datasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// refuseMemory returns an error if dir is not on a disk.
func refuseMemory(dir string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return fmt.Errorf("file system of %s: %w", dir, err)
	}
	switch uint32(s.Type) {
	case tmpfsMagic, ramfsMagic:
		return fmt.Errorf("%s is in memory (tmpfs or ramfs), where an fsync costs nothing: choose a directory on a disk with -dir", dir)
	}
	return nil
}

// cpuTime is what this process has used up to now, in user and in kernel mode.
func cpuTime() (time.Duration, bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}

// residentBytes is VmRSS of this process.
func residentBytes() (uint64, error) {
	text, err := procField("/proc/self/status", "VmRSS")
	if err != nil {
		return 0, err
	}
	kib, err := strconv.ParseUint(strings.TrimSuffix(text, " kB"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("VmRSS: %w", err)
	}
	return kib << 10, nil
}

// procField returns the value of the first line `name : value`.
func procField(file, name string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s has no %s", file, name)
}

// hostFacts describes the machine. What cannot be found out is said to be unknown: a report is better than none.
func hostFacts(dir string) []fact {
	cpu, err := procField("/proc/cpuinfo", "model name")
	if err != nil {
		cpu = unknown
	}
	ram, err := procField("/proc/meminfo", "MemTotal")
	if kib, e := strconv.ParseUint(strings.TrimSuffix(ram, " kB"), 10, 64); err == nil && e == nil {
		ram = fmt.Sprintf("%.1f GiB", float64(kib)/(1<<20))
	} else {
		ram = unknown
	}
	return []fact{
		{"CPU", cpu},
		{"RAM", ram},
		{"kernel", "Linux " + fileText("/proc/sys/kernel/osrelease")},
		{"disk and file system", mountOf(dir)},
	}
}

// mountOf tells file system, device and the device's write cache. The last mount that holds dir counts, as it covers earlier ones.
func mountOf(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return unknown
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return unknown
	}
	best, found := "", unknown
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		mount, super, ok := strings.Cut(lines.Text(), " - ")
		fields, rest := strings.Fields(mount), strings.Fields(super)
		if !ok || len(fields) < 6 || len(rest) < 2 {
			continue
		}
		point := fields[4]
		if inside(dir, point) && len(point) >= len(best) {
			best = point
			found = fmt.Sprintf("%s (%s) on %s%s", rest[0], fields[5], rest[1], deviceFacts(fields[2]))
		}
	}
	return found
}

func inside(dir, point string) bool {
	return point == "/" || dir == point || strings.HasPrefix(dir, point+"/")
}

func deviceFacts(number string) string {
	device, err := filepath.EvalSymlinks("/sys/dev/block/" + number)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(device, "queue")); err != nil {
		device = filepath.Dir(device) // of a partition
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
