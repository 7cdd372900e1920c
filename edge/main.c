/* selvage-edge: the daemon that the public talks to. */
#include "role.h"
#include "server/daemon.h"

int main(int argc, char **argv)
{
    static const struct daemon edge = {"selvage-edge", "/etc/selvage/edge.yaml", &edge_role};

    return daemon_main(&edge, argc, argv);
}
