package testseed

import "testing"

func TestSeedIsThatOfTheEnvironment(t *testing.T) {
	t.Setenv(env, "18446744073709551615")
	if seed := New(t); seed != 1<<64-1 {
		t.Errorf("the seed is %d", seed)
	}
	if a, b := Rand(t).Uint64(), Rand(t).Uint64(); a != b {
		t.Errorf("one seed chooses %d and %d", a, b)
	}
	t.Setenv(env, "")
	if a, b := New(t), New(t); a == b {
		t.Errorf("two tests have the seed %d", a)
	}
}
