# fork is charged before it happens: where the kernel kills today, it is refused.
load lib.bash

forker=$BUILD/tests/programs/forker

@test "without Solvent the kernel kills the program that forks and writes" {
	cgroup_make $((256 << 20))
	run cgroup_run "$cgroup" "$forker" 160
	[ "$status" = 137 ]
	[ "$(cgroup_kills "$cgroup")" -ge 1 ]
}

@test "under a budget of 256M the fork is refused, the parent goes on, nobody is killed" {
	cgroup_make $((256 << 20))
	run cgroup_run "$cgroup" ./solvent run --budget 256M -- "$forker" 160
	echo "$output"
	[ "$status" = 3 ]
	[[ $output == *"Cannot allocate memory"* ]]
	[ "$(cgroup_kills "$cgroup")" = 0 ]
}

@test "under a budget of 400M the same program succeeds in 512M" {
	cgroup_make $((512 << 20))
	run cgroup_run "$cgroup" ./solvent run --budget 400M -- "$forker" 160
	echo "$output"
	[ "$status" = 0 ]
	[ "$(cgroup_kills "$cgroup")" = 0 ]
}
