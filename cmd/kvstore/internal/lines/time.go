package lines

import (
	"fmt"
	"time"
)

// AppendTime appends t to dst, as RFC 3339 has it, in UTC and with nanoseconds.
func AppendTime(dst []byte, t time.Time) []byte { return t.UTC().AppendFormat(dst, time.RFC3339Nano) }

// ParseTime returns the moment that text stands for, which is within the years
// 1678 to 2262: a deadline is a number of nanoseconds of 64 bits.
func ParseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%.40q is no time of RFC 3339, such as 2026-01-31T12:00:00Z", text)
	}
	if !time.Unix(0, t.UnixNano()).Equal(t) {
		return time.Time{}, fmt.Errorf("%s is not within the years 1678 to 2262", text)
	}
	return t, nil
}

// Remaining is a time to live for people and for scripts: a duration without
// digits that nobody needs, but never 0.
func Remaining(d time.Duration) string {
	return max(d.Round(time.Millisecond), time.Millisecond).String()
}
