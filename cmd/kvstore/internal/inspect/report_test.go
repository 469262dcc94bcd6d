package inspect

import (
	"encoding/json"
	"slices"
	"testing"

	"kvstore/internal/format"
)

// The verdict is the worst of all damage, in whatever order.
func TestLossIsTheWorst(t *testing.T) {
	for _, c := range []struct {
		losses []Loss
		want   Loss
	}{
		{nil, None},
		{[]Loss{None, None}, None},
		{[]Loss{Possible, None}, Possible},
		{[]Loss{None, Possible}, Possible},
		{[]Loss{Certain, Possible, None}, Certain},
		{[]Loss{Possible, Certain, None}, Certain},
	} {
		var damage []Damage
		for _, loss := range c.losses {
			damage = append(damage, Damage{Loss: loss})
		}
		if got := lossOf(damage); got != c.want {
			t.Errorf("%v: %s, want %s", c.losses, got, c.want)
		}
	}
}

// The damage for which Open refuses a directory is in the report once, and its
// loss is not None.
func TestReasonMayBeALoss(t *testing.T) {
	reason := &format.Damage{File: "f", Offset: 5, Reason: "bad"}
	other := Damage{File: "g", Offset: 5, Loss: None}
	for _, c := range []struct {
		damage Damage
		want   []Loss
	}{
		{Damage{File: "f", Offset: 5, Loss: None}, []Loss{None, Possible}},
		{Damage{File: "f", Reason: "bad", Loss: None}, []Loss{None, Possible}},
		{Damage{File: "f", Offset: 5, Loss: Certain}, []Loss{None, Certain}},
		{Damage{File: "f", Offset: 6, Loss: None}, []Loss{None, None, Possible}},
	} {
		var got []Loss
		for _, d := range withReason([]Damage{other, c.damage}, reason) {
			got = append(got, d.Loss)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.damage, got, c.want)
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
