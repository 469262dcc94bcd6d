package inspect

import (
	"encoding/json"
	"testing"
)

// The verdict is the worst of all damage, in whatever order.
func TestLossIsTheWorst(t *testing.T) {
	for _, c := range []struct {
		losses  []Loss
		refused bool
		want    Loss
	}{
		{nil, false, None},
		{nil, true, Possible},
		{[]Loss{None, None}, false, None},
		{[]Loss{None}, true, Possible},
		{[]Loss{Possible, None}, false, Possible},
		{[]Loss{None, Possible}, true, Possible},
		{[]Loss{Certain, Possible, None}, true, Certain},
		{[]Loss{Possible, Certain, None}, true, Certain},
	} {
		var damage []Damage
		for _, loss := range c.losses {
			damage = append(damage, Damage{Loss: loss})
		}
		if got := lossOf(damage, c.refused); got != c.want {
			t.Errorf("%v, refused: %v: %s, want %s", c.losses, c.refused, got, c.want)
		}
	}
}

// Keys have the names and encodings that they have in NDJSON.
func TestKeysInJSON(t *testing.T) {
	got, err := json.Marshal(Damage{Keys: newKeys([]string{"a\n\"", "\xff"})}.Keys)
	if want := `{"count":2,"first":"a\n\"","last64":"/w=="}`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}
