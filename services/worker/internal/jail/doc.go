// Package jail starts the process tree of one job, so that nothing of it
// survives and nothing of any other job is visible to it.
//
// On Linux the tree runs under bubblewrap, the same program Codex uses for its
// own sandbox and ships with it, in user, PID, mount, IPC and UTS namespaces
// of its own. The PID namespace is what makes the end certain: when its first
// process dies the kernel kills every other one, whatever session, process
// group or parent it moved to, and [Process.Done] closes only after that. The
// root file system is built from an allow-list: the system's program
// directories read-only, the Codex package at [CodexDir], the job's CODEX_HOME
// at [HomeDir], its workspace at [WorkspaceDir] and a private /tmp. The
// gateway's data directory, other jobs' directories, home directories, /run
// with its sockets and /var are not hidden; they are not there. No capability
// is left inside and no_new_privs is set; Codex's own sandbox, which needs
// neither, still nests.
//
// A worker that runs as root starts the tree as an unprivileged user
// ([Config.UID]), because a command that a client approved to run outside
// Codex's sandbox would otherwise be root on the host's devices and sysctls.
// Directories given to the tree must then belong to that user: [Launcher.Own].
//
// The jail shares the worker's network namespace, so that Codex reaches the
// model proxy on loopback. What commands may reach is decided by Codex's
// sandbox, and, for commands approved to leave it, by the host's network.
//
// Where namespaces cannot be had, [ProcessGroup] mode offers what POSIX does:
// a session of its own, killed as a group. A daemon that starts a session of
// its own escapes it and paths are the host's; workers use it only when told.
//
// Package probe asks at start whether the mode works; the worker's pool of
// Codex processes is the caller of Start.
package jail
