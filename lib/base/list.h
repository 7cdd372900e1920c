/* list: doubly linked lists through members of the linked, for owners of a few things in no order. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

/* Put `item` in front of `head`; take it out.  `next` and `prev` are its members. */
#define LIST_PUSH(head, item)                                                                      \
    do {                                                                                           \
        (item)->prev = NULL;                                                                       \
        (item)->next = (head);                                                                     \
        if ((head) != NULL)                                                                        \
            (head)->prev = (item);                                                                 \
        (head) = (item);                                                                           \
    } while (0)

#define LIST_REMOVE(head, item)                                                                    \
    do {                                                                                           \
        if ((item)->prev != NULL)                                                                  \
            (item)->prev->next = (item)->next;                                                     \
        else                                                                                       \
            (head) = (item)->next;                                                                 \
        if ((item)->next != NULL)                                                                  \
            (item)->next->prev = (item)->prev;                                                     \
        (item)->next = (item)->prev = NULL;                                                        \
    } while (0)

#endif
