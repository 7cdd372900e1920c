/* selvage-shield: the daemon that edges talk to, and that talks to the origin. */
#include "role.h"
#include "server/daemon.h"

int main(int argc, char **argv)
{
    static const struct daemon shield = {"selvage-shield", "/etc/selvage/shield.yaml",
                                         &shield_role};

    return daemon_main(&shield, argc, argv);
}
